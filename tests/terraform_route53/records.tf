locals {
  address = var.changed ? "192.0.2.2" : "192.0.2.1"
  ttl     = var.changed ? 60 : 300
  # Type, and its values.
  simple = {
    a     = ["A", [local.address, "192.0.2.9"]]
    six   = ["AAAA", ["2001:db8::1"]]
    name  = ["CNAME", ["a.example.test"]]
    mail  = ["MX", ["10 mail.example.test", "20 mail.example.test."]]
    text  = ["TXT", ["v=spf1 -all", "with \\\"quotes\\\""]]
    srv   = ["SRV", ["1 10 5269 a.example.test"]]
    ptr   = ["PTR", ["a.example.test"]]
    caa   = ["CAA", ["0 issue \"ca.example.net\""]]
    sub   = ["NS", ["ns.example.net."]]
    naptr = ["NAPTR", ["100 50 \"u\" \"sip+E2U\" \"!^.*$!sip:info@example.test!\" ."]]
    https = ["HTTPS", ["1 . alpn=\"h2\""]]
    tlsa  = ["TLSA", ["3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]]
    sshfp = ["SSHFP", ["1 1 0123456789abcdef0123456789abcdef01234567"]]
    "*"   = ["A", [local.address]]
  }
}

resource "aws_route53_record" "simple" {
  for_each = local.simple
  zone_id  = aws_route53_zone.public.zone_id
  name     = "${each.key}.example.test"
  type     = each.value[0]
  ttl      = local.ttl
  records  = each.value[1]
}

resource "aws_route53_record" "private" {
  zone_id = aws_route53_zone.private.zone_id
  name    = "db"
  type    = "A"
  ttl     = local.ttl
  records = [local.address]
}

resource "aws_route53_record" "alias" {
  zone_id = aws_route53_zone.public.zone_id
  name    = ""
  type    = "A"

  alias {
    zone_id                = aws_route53_zone.public.zone_id
    name                   = aws_route53_record.simple["a"].fqdn
    evaluate_target_health = var.changed
  }
}

resource "aws_route53_record" "weighted" {
  count          = 2
  zone_id        = aws_route53_zone.public.zone_id
  name           = "weighted"
  type           = "A"
  ttl            = local.ttl
  records        = ["192.0.2.${count.index + 1}"]
  set_identifier = "set-${count.index}"

  weighted_routing_policy {
    weight = var.changed ? 255 : count.index
  }
}

resource "aws_route53_record" "latency" {
  for_each       = toset(["eu-west-1", "us-east-1"])
  zone_id        = aws_route53_zone.public.zone_id
  name           = "latency"
  type           = "A"
  ttl            = local.ttl
  records        = [local.address]
  set_identifier = each.key

  latency_routing_policy {
    region = each.key
  }
}

resource "aws_route53_record" "primary" {
  zone_id        = aws_route53_zone.public.zone_id
  name           = "failover"
  type           = "A"
  set_identifier = "primary"

  failover_routing_policy {
    type = "PRIMARY"
  }

  alias {
    zone_id                = aws_route53_zone.public.zone_id
    name                   = aws_route53_record.simple["a"].fqdn
    evaluate_target_health = true
  }
}

resource "aws_route53_record" "secondary" {
  zone_id        = aws_route53_zone.public.zone_id
  name           = "failover"
  type           = "A"
  ttl            = local.ttl
  records        = [local.address]
  set_identifier = "secondary"

  failover_routing_policy {
    type = "SECONDARY"
  }
}

resource "aws_route53_record" "geolocation" {
  for_each       = { europe = ["EU", null, null], washington = [null, "US", "WA"], default = [null, "*", null] }
  zone_id        = aws_route53_zone.public.zone_id
  name           = "geo"
  type           = "A"
  ttl            = local.ttl
  records        = [local.address]
  set_identifier = each.key

  geolocation_routing_policy {
    continent   = each.value[0]
    country     = each.value[1]
    subdivision = each.value[2]
  }
}

resource "aws_route53_record" "near_region" {
  zone_id        = aws_route53_zone.public.zone_id
  name           = "near"
  type           = "A"
  ttl            = local.ttl
  records        = [local.address]
  set_identifier = "region"

  geoproximity_routing_policy {
    aws_region = "us-east-1"
    bias       = var.changed ? -20 : 20
  }
}

resource "aws_route53_record" "near_place" {
  zone_id        = aws_route53_zone.public.zone_id
  name           = "near"
  type           = "A"
  ttl            = local.ttl
  records        = [local.address]
  set_identifier = "place"

  geoproximity_routing_policy {
    coordinates {
      latitude  = "49.22"
      longitude = "-74.01"
    }
  }
}

resource "aws_route53_record" "multivalue" {
  count                            = 2
  zone_id                          = aws_route53_zone.public.zone_id
  name                             = "many"
  type                             = "A"
  ttl                              = local.ttl
  records                          = ["192.0.2.${count.index + 1}"]
  set_identifier                   = "set-${count.index}"
  multivalue_answer_routing_policy = true
}

resource "aws_route53_record" "cidr" {
  for_each       = { office = aws_route53_cidr_location.office.name, others = "*" }
  zone_id        = aws_route53_zone.public.zone_id
  name           = "cidr"
  type           = "A"
  ttl            = local.ttl
  records        = [local.address]
  set_identifier = each.key

  cidr_routing_policy {
    collection_id = aws_route53_cidr_collection.offices.id
    location_name = each.value
  }
}
