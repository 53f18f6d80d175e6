"""Make `signatures/local_projection.npz`: the 64 directions and thresholds local descriptors are reduced with.

    python -m videonovelty.tuning.train_projection [--out FILE] [--videos DIRECTORY]

Trained on the pictures scikit-image bundles and on generated ones, each also in edited form, so that the script gives
the same file anywhere. Footage is used only when a directory is named.
"""
