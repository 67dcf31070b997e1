//! Transcripts of sessions, attacks on them, and every way to split them.
mod copy;
mod extended;
mod harness;
mod hold;
mod limits;
mod login;
mod malformed;
mod masks;
mod messages;
mod model;
mod races;
mod recognise;
mod recording;
mod simple;
mod splits;
mod values;
