//! Output for people: tables, trees and colours, through which nothing that a job wrote can reach
//! the terminal as anything but text.
pub(crate) mod escape;
pub(crate) mod moment;
pub(crate) mod pace;
pub(crate) mod screen;
pub(crate) mod table;
