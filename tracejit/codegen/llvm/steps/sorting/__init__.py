"""Sorting along one axis: values, or the places of values, equal ones in order.

Rows are sorted one by one where they lie along memory; others are collected first, as
many side by side as a cache line has, and spread afterwards. Threads share rows, or
where there are few of them, the elements of each.
"""

from .rows import write_sort

__all__ = ["write_sort"]
