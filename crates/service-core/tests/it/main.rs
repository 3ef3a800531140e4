//! Stories and laws of the core, told in a pretend world by moving its clock.

mod laws;
mod stories;
mod world;
