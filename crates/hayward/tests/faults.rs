//! The rows of the fault matrix that are of servers of others and of their clients (`F8` to `F12`), on the real binary: what
//! a fault costs, and whom it costs nothing.
#![cfg(test)]

#[path = "gateway/rig.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod rig;

#[path = "faults/crowds.rs"]
mod crowds;
#[path = "faults/gone.rs"]
mod gone;
#[path = "faults/lies.rs"]
mod lies;
#[path = "faults/wires.rs"]
mod wires;
#[path = "faults/yard.rs"]
mod yard;
