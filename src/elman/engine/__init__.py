"""Running a network without torch: sizes, layers over time, recorded passes, the compiled kernel."""
