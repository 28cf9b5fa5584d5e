//! An interpreter for the Go template language.
