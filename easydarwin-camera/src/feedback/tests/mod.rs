//! The controller on links that are computed: a ring that drops, a kernel that holds, a bottleneck
//! with a queue of its own, encoders that follow well, late, coarsely or not at all.

mod encoder;
mod link;
mod properties;
mod run;
mod scenarios;
