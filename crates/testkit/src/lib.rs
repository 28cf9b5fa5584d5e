//! Network namespaces as pods, test servers and golden files for tests and the demo.
