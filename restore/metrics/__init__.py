"""How good a picture is, in numbers: pure functions on batches B x C x H x W with values in [0, 1] -> B values.

* `pixel`: PSNR in RGB and in luma
* `structure`: SSIM and MS-SSIM in RGB and in luma
* `daala`: the SSIM of the SRGAN paper
* `features`: distances of deep features, where their weights are
* `naturalness`: a score without a reference
* `table`: all of them by name, each with its convention in words
"""
