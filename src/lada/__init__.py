"""LaDa: federated reasoning distillation between one server LLM and many different client SLMs."""
