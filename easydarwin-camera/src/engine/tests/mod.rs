//! The whole camera in a network under virtual time.

mod camera;
mod cms;
mod hour;
mod pictures;
