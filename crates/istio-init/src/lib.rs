//! Plans, applies and verifies traffic interception.
