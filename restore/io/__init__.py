"""Bytes <-> pictures: decoding, encoding, metadata, streaming and paths. Knows nothing of networks.

* `codecs`: `probe`, `open_picture`, `target_info`, `create`
* `options`: `ReadOptions`, `SaveOptions` (light: no codec is loaded)
* `paths`: `find_pictures`, `default_output`, `check_output` (light)
"""
