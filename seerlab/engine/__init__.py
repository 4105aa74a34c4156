"""What stands between the methods and the views: one layer studied, times measured, the latest request computed."""
