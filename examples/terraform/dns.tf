resource "aws_route53_zone" "public" {
  name    = var.zone
  comment = "The shop"
}

resource "aws_route53_record" "api" {
  zone_id = aws_route53_zone.public.zone_id
  name    = "api.${var.zone}"
  type    = "A"

  alias {
    name                   = aws_lb.main.dns_name
    zone_id                = aws_lb.main.zone_id
    evaluate_target_health = true
  }
}

resource "aws_route53_record" "www" {
  zone_id = aws_route53_zone.public.zone_id
  name    = "www"
  type    = "CNAME"
  ttl     = var.record_ttl_seconds
  records = ["api.${var.zone}"]
}

resource "aws_route53_record" "text" {
  zone_id = aws_route53_zone.public.zone_id
  name    = var.zone
  type    = "TXT"
  ttl     = 60
  records = ["v=spf1 -all", "two words"]
}

resource "aws_route53_record" "wildcard" {
  zone_id = aws_route53_zone.public.zone_id
  name    = "*.preview.${var.zone}"
  type    = "A"
  ttl     = 60
  records = ["203.0.113.9"]
}

resource "aws_route53_zone" "private" {
  name = "internal.test"

  vpc {
    vpc_id = aws_vpc.main.id
  }
}

resource "aws_route53_record" "private" {
  zone_id = aws_route53_zone.private.zone_id
  name    = "db.internal.test"
  type    = "A"
  ttl     = 60
  records = ["10.30.10.200", "10.30.11.200"]
}
