// Which instruction sets this processor and operating system offer. Built for the baseline: it must run anywhere.
#pragma once

namespace seerlab {

enum Level : int { kScalar = 0, kAvx2 = 1, kAvx512 = 2 };

// Highest level that is both compiled in and usable here.
int best_level() noexcept;

// Highest level that is compiled in.
int built_level() noexcept;

}  // namespace seerlab
