"""The cost engine: work, times and memory of passes, on integers, arrays and symbols.

A report evaluates it on integers, a sweep on arrays, the browser on what is written from symbols.
"""
