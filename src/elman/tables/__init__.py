"""Tables as named columns, from CSV, JSON Lines and Parquet files and from data frames."""
