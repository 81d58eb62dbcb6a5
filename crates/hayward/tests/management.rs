//! The control plane through the real binary: what is declared, who may, and what the record says of it.
#![cfg(test)]

mod management {
    mod apply;
    mod attacked;
    mod commands;
    mod denied;
    mod described;
    mod hidden;
    mod login;
    mod manifests;
    mod resources;
    pub(crate) mod rig;
    mod running;
    mod sharing;
    mod watching;
    mod world;
}
