"""Builds the open right hand and head from the CC0 MakeHuman data: see
`tools/build_open_models.py`.
"""
