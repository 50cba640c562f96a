//! Hosted zone ids of Application Load Balancers by region (facts ALB-7, ALB-8), for alias records.
//! <https://docs.aws.amazon.com/general/latest/gr/elb.html>

const ZONE_IDS: &[(&str, &str)] = &[
    ("us-east-1", "Z35SXDOTRQ7X7K"),
    ("us-east-2", "Z3AADJGX6KTTL2"),
    ("us-west-1", "Z368ELLRRE2KJ0"),
    ("us-west-2", "Z1H1FL5HABSF5"),
    ("ca-central-1", "ZQSVJUPU6J1EY"),
    ("ca-west-1", "Z06473681N0SF6OS049SD"),
    ("eu-west-1", "Z32O12XQLNTSW2"),
    ("eu-west-2", "ZHURV8PSTC4K8"),
    ("eu-west-3", "Z3Q77PNBQS71R4"),
    ("eu-central-1", "Z215JYRZR1TBD5"),
    ("eu-central-2", "Z06391101F2ZOEP8P5EB3"),
    ("eu-north-1", "Z23TAZ6LKFMNIO"),
    ("eu-south-1", "Z3ULH7SSC9OV64"),
    ("eu-south-2", "Z0956581394HF5D5LXGAP"),
    ("ap-south-1", "ZP97RAFLXTNZK"),
    ("ap-south-2", "Z0173938T07WNTVAEPZN"),
    ("ap-northeast-1", "Z14GRHDCWA56QT"),
    ("ap-northeast-2", "ZWKZPGTI48KDX"),
    ("ap-northeast-3", "Z5LXEXXYW11ES"),
    ("ap-southeast-1", "Z1LMS91P8CMLE5"),
    ("ap-southeast-2", "Z1GM3OXH4ZPM65"),
    ("ap-southeast-3", "Z08888821HLRG5A9ZRTER"),
    ("ap-southeast-4", "Z09517862IB2WZLPXG76F"),
    ("ap-southeast-5", "Z06010284QMVVW7WO5J"),
    ("ap-southeast-7", "Z0390008CMBRTHFGWBCB"),
    ("ap-east-1", "Z3DQVH9N71FHZ0"),
    ("sa-east-1", "Z2P70J7HTTTPLU"),
    ("af-south-1", "Z268VQBMOI5EKX"),
    ("me-south-1", "ZS929ML54UICD"),
    ("me-central-1", "Z08230872XQRWHG2XF6I"),
    ("il-central-1", "Z09170902867EHPV2DABU"),
    ("mx-central-1", "Z023552324OKD1BB28BH5"),
    ("us-gov-west-1", "Z33AYJ8TM3BH4J"),
    ("us-gov-east-1", "Z166TLBEWOO7G0"),
    ("cn-north-1", "Z1GDH35T77C1KE"),
    ("cn-northwest-1", "ZM7IZAIOVVDZF"),
];

/// `None` for a region that does not exist.
pub fn of_region(region: &str) -> Option<&'static str> {
    ZONE_IDS
        .iter()
        .find(|(name, _)| *name == region)
        .map(|(_, id)| *id)
}

/// The region whose load balancers have that id.
pub fn region_of(zone_id: &str) -> Option<&'static str> {
    ZONE_IDS
        .iter()
        .find(|(_, id)| *id == zone_id)
        .map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_region_with_zones_has_an_id_of_its_own() {
        for region in fogbank_types::place::regions() {
            let id = of_region(region).expect(region);
            assert_eq!(region_of(id), Some(region));
        }
    }

    #[test]
    fn what_does_not_exist_has_none() {
        assert_eq!(of_region("mars-1"), None);
        assert_eq!(region_of("Z"), None);
    }
}
