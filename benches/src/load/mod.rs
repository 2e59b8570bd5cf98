//! What the load tools share: processes under measurement and what the kernel says of them,
//! readers, histograms.

pub mod process;
pub mod procfs;
pub mod reader;
pub mod stats;
