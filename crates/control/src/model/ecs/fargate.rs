//! Sizes that Fargate offers (fact ECS-1).
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html#fargate-tasks-size>

use super::{Refusal, client};

/// CPU units: `256`, `.25 vCPU`, `1vcpu`.
pub fn cpu(text: &str) -> Result<u32, Refusal> {
    units(text, "vcpu").ok_or_else(|| {
        client(format!("Invalid 'cpu' setting for task. The value '{text}' is neither CPU units nor a number of vCPUs."))
    })
}

/// MiB: `512`, `0.5GB`, `2 gb`.
pub fn memory_mib(text: &str) -> Result<u32, Refusal> {
    units(text, "gb").ok_or_else(|| {
        client(format!("Invalid 'memory' setting for task. The value '{text}' is neither MiB nor a number of GB."))
    })
}

/// A plain number, or one in the unit, of which 1024 make one.
fn units(text: &str, unit: &str) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    let Some(number) = text.strip_suffix(unit) else {
        return text
            .bytes()
            .all(|b| b.is_ascii_digit())
            .then(|| text.parse().ok())?;
    };
    let number = number.trim();
    if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return None;
    }
    let value = number.parse::<f64>().ok()? * 1024.0;
    (value.fract() == 0.0 && value <= f64::from(u32::MAX)).then_some(value as u32)
}

/// Refuses a pair that Fargate does not offer.
pub fn check_size(cpu: u32, memory_mib: u32) -> Result<(), Refusal> {
    let within = |low: u32, high: u32, step: u32| {
        (low..=high).contains(&memory_mib) && memory_mib.is_multiple_of(step)
    };
    let offered = match cpu {
        256 => matches!(memory_mib, 512 | 1024 | 2048),
        512 => within(1024, 4096, 1024),
        1024 => within(2048, 8192, 1024),
        2048 => within(4096, 16384, 1024),
        4096 => within(8192, 30720, 1024),
        8192 => within(16384, 61440, 4096),
        16384 => within(32768, 122880, 8192),
        _ => false,
    };
    if offered {
        Ok(())
    } else {
        Err(client("No Fargate configuration exists for given values."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        for (text, units) in [
            ("256", 256),
            ("1 vCPU", 1024),
            (".25 vcpu", 256),
            ("0.5vCPU", 512),
        ] {
            assert_eq!(cpu(text).unwrap(), units, "{text}");
        }
        for (text, mib) in [
            ("512", 512),
            ("2GB", 2048),
            ("0.5 GB", 512),
            ("30 gb", 30720),
        ] {
            assert_eq!(memory_mib(text).unwrap(), mib, "{text}");
        }
        for text in [
            "",
            "-1",
            "1.5",
            "x",
            "vcpu",
            "1e3 vcpu",
            "0.0001 vcpu",
            "99999999999",
            "nan vcpu",
        ] {
            assert!(cpu(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_offered_pairs_pass() {
        for (cpu, memory) in [
            (256, 512),
            (256, 2048),
            (512, 4096),
            (4096, 30720),
            (8192, 20480),
            (16384, 122880),
        ] {
            assert!(check_size(cpu, memory).is_ok(), "{cpu} {memory}");
        }
        for (cpu, memory) in [
            (256, 8192),
            (256, 1536),
            (512, 512),
            (8192, 17408),
            (16384, 36864),
            (128, 512),
            (0, 0),
        ] {
            let refused = check_size(cpu, memory).unwrap_err();
            assert_eq!(
                refused.to_string(),
                "No Fargate configuration exists for given values."
            );
        }
    }
}
