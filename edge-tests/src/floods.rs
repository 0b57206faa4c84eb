//! Floods: many cheap messages that cost the gateway more, while good clients want their answers.

pub mod attacker;
pub mod core;
pub mod good;
pub mod kinds;
pub mod site;
pub mod table;
