"""The YAML files of `diffwave train`, shipped as `diffwave.configs`."""
