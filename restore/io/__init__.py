"""Bytes <-> pictures: decoding, encoding, metadata, streaming and paths; files of weights -> named tensors. Knows
nothing of networks.

* `codecs`: `probe`, `open_picture`, `target_info`, `create`
* `options`: `ReadOptions`, `SaveOptions` (light: no codec is loaded)
* `weights_file`, `home`: reading weights that nobody vouches for; the user's folder of this program
* `paths`: `find_pictures`, `default_output`, `check_output` (light)
"""
