"""The Open Inference Protocol v2, which clients of KServe, MLServer and Triton speak, in JSON and bytes."""
