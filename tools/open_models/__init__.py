"""Builder of the open right hand and head, see `tools/build_open_models.py`."""
