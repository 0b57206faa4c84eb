//! Damaged data directories: a node opens with everything that it acknowledged, or says what is damaged and stays out.

pub mod fault;
pub mod template;
pub mod trial;
