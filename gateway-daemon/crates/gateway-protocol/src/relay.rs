//! The one loop that moves the bytes.
