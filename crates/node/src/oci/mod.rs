//! Images: from the blobs that a registry or an archive brought to the folders that a container's root is made of.
//!
//! The task agent asks for an [`Image`] by manifest digest and unpacks its layers through [`LayerStore`]; `fogbank image
//! load` uses [`archive::load`]. What must stay true: no byte of an image is believed before its digest is checked, and
//! unpacking never touches a path outside the layer's own folder.

pub mod archive;
pub mod cache;
pub mod config;
pub mod image;
pub mod layer;
pub mod manifest;
pub mod pull;
mod root;
mod tar;
mod zstd;

pub use archive::{Loaded, load};
pub use cache::ImageCache;
pub use config::ImageConfig;
pub use image::{Image, ImageError};
pub use layer::{LayerError, LayerStore, Limits};
pub use manifest::{Descriptor, Manifest, Platform};
