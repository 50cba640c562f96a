resource "aws_route53_delegation_set" "shared" {
  reference_name = "shared"
}

resource "aws_route53_zone" "public" {
  name              = "example.test"
  comment           = var.changed ? "changed" : "first"
  delegation_set_id = aws_route53_delegation_set.shared.id
  tags              = var.changed ? { a = "2", c = "3" } : { a = "1", b = "2" }
}

resource "aws_vpc" "vpc" {
  count                = 3
  cidr_block           = "10.${count.index}.0.0/16"
  enable_dns_hostnames = true
}

resource "aws_route53_zone" "private" {
  name = "corp.test"

  vpc {
    vpc_id = aws_vpc.vpc[0].id
  }

  # What is associated on its own is not this resource's.
  lifecycle {
    ignore_changes = [vpc]
  }
}

resource "aws_route53_vpc_association_authorization" "second" {
  zone_id = aws_route53_zone.private.id
  vpc_id  = aws_vpc.vpc[1].id
}

resource "aws_route53_zone_association" "second" {
  zone_id = aws_route53_vpc_association_authorization.second.zone_id
  vpc_id  = var.changed ? aws_vpc.vpc[2].id : aws_vpc.vpc[1].id
}

resource "aws_cloudwatch_log_group" "queries" {
  name = "/aws/route53/example.test"
}

resource "aws_route53_query_log" "public" {
  zone_id                  = aws_route53_zone.public.zone_id
  cloudwatch_log_group_arn = aws_cloudwatch_log_group.queries.arn
}

resource "aws_route53_cidr_collection" "offices" {
  name = "offices"
}

resource "aws_route53_cidr_location" "office" {
  cidr_collection_id = aws_route53_cidr_collection.offices.id
  name               = "office"
  cidr_blocks        = var.changed ? ["203.0.113.0/24", "2001:db8::/48"] : ["198.51.100.0/24", "203.0.113.0/24"]
}
