//! The commands that ask the control plane, run as an administrator runs them, against the real daemon.
#![cfg(test)]

mod cli {
    mod completing;
    mod files;
    mod flags;
    mod imports;
    mod projects;
    pub(crate) mod rig;
    mod running;
    mod shapes;
    mod sign_in;
}
