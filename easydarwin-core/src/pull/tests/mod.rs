//! The supervisor against answers that real cameras gave, and against a day of trouble.

mod cameras;
mod day;
mod keep_alives;
mod media;
mod rig;
mod stale;
mod states;
mod world;
