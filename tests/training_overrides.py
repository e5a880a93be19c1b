"""Settings of a training run that takes a moment."""

SMALL = [
    "experiment=debug_cpu",
    "model.network.residual_channels=8",
    "model.network.residual_layers=2",
    "data.crop_frames=8",
    "train.batch_size=2",
    "train.validation_utterances=1",
    "train.device=cpu",
    "train.iterations=6",
    "train.checkpoint_every=2",
    "train.validate_every=3",
    "train.log_every=2",
    "train.outputs_every=0",
    "train.tensorboard=false",
]
