"""``fastgmm bench``: passes of fastgmm on the user's own machine, beside the machine's peak.

What compares them with other packages is in the repository's ``asv_benchmarks/comparisons``.
"""
