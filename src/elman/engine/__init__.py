"""Running a network without torch: layers over time, pooling, recorded passes and the compiled kernel."""
