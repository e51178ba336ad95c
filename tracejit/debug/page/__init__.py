"""The page of `tracejit view`: every level of one compilation, linked line by line.

The document that the page shows is plain data, made of frozen stages by `model`; `page`
puts it into one HTML file with the style, the script and a layout library.
"""
