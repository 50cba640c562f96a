resource "aws_route53_zone" "this" {
  name = "shop.test"
}

# The usual way to a certificate: request, publish the records, wait until it is issued.
resource "aws_acm_certificate" "requested" {
  domain_name               = "shop.test"
  subject_alternative_names = ["*.shop.test", "www.shop.test"]
  validation_method         = "DNS"
  key_algorithm             = "EC_prime256v1"
  options {
    certificate_transparency_logging_preference = var.changed ? "DISABLED" : "ENABLED"
  }
  tags = { Name = var.changed ? "shop changed" : "shop" }
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "validation" {
  for_each = {
    for option in aws_acm_certificate.requested.domain_validation_options : option.domain_name => {
      name   = option.resource_record_name
      type   = option.resource_record_type
      record = option.resource_record_value
    }
  }
  allow_overwrite = true
  name            = each.value.name
  type            = each.value.type
  records         = [each.value.record]
  ttl             = 60
  zone_id         = aws_route53_zone.this.zone_id
}

resource "aws_acm_certificate_validation" "this" {
  certificate_arn         = aws_acm_certificate.requested.arn
  validation_record_fqdns = [for record in aws_route53_record.validation : record.fqdn]
}

# RSA, the default, and a certificate that is replaced when its names change.
resource "aws_acm_certificate" "rsa" {
  domain_name       = var.changed ? "new.shop.test" : "old.shop.test"
  validation_method = "DNS"
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_route53_record" "rsa" {
  name    = tolist(aws_acm_certificate.rsa.domain_validation_options)[0].resource_record_name
  type    = tolist(aws_acm_certificate.rsa.domain_validation_options)[0].resource_record_type
  records = [tolist(aws_acm_certificate.rsa.domain_validation_options)[0].resource_record_value]
  ttl     = 60
  zone_id = aws_route53_zone.this.zone_id
}

resource "aws_acm_certificate_validation" "rsa" {
  certificate_arn         = aws_acm_certificate.rsa.arn
  validation_record_fqdns = [aws_route53_record.rsa.fqdn]
}

# Nobody answers the mail: it stays pending.
resource "aws_acm_certificate" "mail" {
  domain_name       = "mail.shop.test"
  validation_method = "EMAIL"
  validation_option {
    domain_name       = "mail.shop.test"
    validation_domain = "shop.test"
  }
}

resource "aws_acm_certificate" "imported" {
  private_key       = file("${path.module}/leaf.key")
  certificate_body  = file(var.changed ? "${path.module}/leaf_again.crt" : "${path.module}/leaf.crt")
  certificate_chain = file("${path.module}/authority.crt")
  tags              = { Name = "imported" }
}

data "aws_acm_certificate" "issued" {
  domain      = "shop.test"
  statuses    = ["ISSUED"]
  types       = ["AMAZON_ISSUED"]
  key_types   = ["EC_prime256v1"]
  most_recent = true
  depends_on  = [aws_acm_certificate_validation.this]
}

output "issued" {
  value = data.aws_acm_certificate.issued.arn == aws_acm_certificate.requested.arn ? data.aws_acm_certificate.issued.status : "another"
}
