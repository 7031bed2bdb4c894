"""Suites whose questions a vision-language model answers: T2V-CompBench and DSG."""
