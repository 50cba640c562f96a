resource "aws_route53_zone" "this" {
  name          = "variants.test"
  comment       = var.changed ? "after" : "before"
  force_destroy = true
  tags          = { Name = "variants" }
}

resource "aws_route53_record" "this" {
  for_each = {
    a     = { type = "A", records = ["203.0.113.1", "203.0.113.2"] }
    aaaa  = { type = "AAAA", records = ["2001:db8::1"] }
    mx    = { type = "MX", records = ["10 mail.variants.test", "20 backup.variants.test"] }
    txt   = { type = "TXT", records = ["a\"\"b", var.changed ? "after" : "before"] }
    srv   = { type = "SRV", records = ["1 10 443 a.variants.test"] }
    caa   = { type = "CAA", records = ["0 issue \"ca.example.com\""] }
    cname = { type = "CNAME", records = ["a.variants.test."] }
    child = { type = "NS", records = ["ns1.example.com.", "ns2.example.com."] }
  }
  zone_id = aws_route53_zone.this.zone_id
  name    = each.key
  type    = each.value.type
  ttl     = var.changed ? 30 : 300
  records = each.value.records
}

resource "aws_route53_record" "alias_to_record" {
  zone_id = aws_route53_zone.this.zone_id
  name    = "alias.variants.test"
  type    = "A"

  alias {
    name                   = aws_route53_record.this["a"].fqdn
    zone_id                = aws_route53_zone.this.zone_id
    evaluate_target_health = false
  }
}

resource "aws_route53_zone" "private" {
  name = "private.test"

  vpc {
    vpc_id = aws_vpc.this.id
  }

  lifecycle {
    ignore_changes = [vpc]
  }
}

resource "aws_vpc" "second" {
  cidr_block = "10.51.0.0/16"
}

resource "aws_route53_zone_association" "second" {
  zone_id = aws_route53_zone.private.zone_id
  vpc_id  = aws_vpc.second.id
}

data "aws_route53_zone" "this" {
  name       = "variants.test."
  depends_on = [aws_route53_zone.this]
}

data "aws_route53_zone" "private" {
  name         = "private.test"
  private_zone = true
  depends_on   = [aws_route53_zone.private]
}
