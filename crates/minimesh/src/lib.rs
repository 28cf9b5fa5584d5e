//! The command line of minimesh.
