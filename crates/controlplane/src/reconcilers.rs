//! What makes the world as it is wanted: each takes no input but the store and what it looks after, and works as a pure plan
//! and an executor of it. What fails is seen by the next look, and never tried again in place.

pub mod instances;
