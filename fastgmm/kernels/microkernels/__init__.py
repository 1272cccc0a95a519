"""Inner loops written as LLVM vector code, each with a twin in plain NumPy."""
