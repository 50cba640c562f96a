//! `fogbank ca`: prints the certificate to trust for TLS with the region's services.

use super::{RegionArguments, region, show};
use anyhow::{Context, Result};

pub fn run(arguments: &RegionArguments) -> Result<()> {
    let config = region::config(arguments)?;
    let certificate = fogbank_pki::authority::certificate(&config.data_dir)
        .context("the region's certificate authority cannot be read")?;
    show(&certificate)
}
