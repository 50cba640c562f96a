resource "aws_vpc" "this" {
  cidr_block           = "10.0.0.0/16"
  enable_dns_hostnames = true
}

resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = "shop.internal"
  description = var.changed ? "Names inside" : "Names"
  vpc         = aws_vpc.this.id
  tags        = var.changed ? { team = "net" } : { team = "shop" }
}

resource "aws_service_discovery_public_dns_namespace" "this" {
  name        = "shop.test"
  description = var.changed ? "Names outside" : null
}

resource "aws_service_discovery_http_namespace" "this" {
  name        = "calls"
  description = "Calls only"
  tags        = var.changed ? {} : { stage = "test" }
}

resource "aws_service_discovery_service" "api" {
  name        = "api"
  description = var.changed ? "The API" : "An API"
  tags        = var.changed ? { team = "net" } : { team = "shop" }
  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this.id
    routing_policy = "MULTIVALUE"
    dns_records {
      type = "A"
      ttl  = var.changed ? 5 : 10
    }
    dynamic "dns_records" {
      for_each = var.changed ? [] : ["SRV"]
      content {
        type = dns_records.value
        ttl  = 10
      }
    }
  }
  health_check_custom_config {
    failure_threshold = 1
  }
  force_destroy = true
}

resource "aws_service_discovery_service" "outside" {
  name = "outside"
  dns_config {
    namespace_id   = aws_service_discovery_public_dns_namespace.this.id
    routing_policy = "WEIGHTED"
    dns_records {
      type = "A"
      ttl  = 60
    }
  }
  health_check_config {
    type              = "HTTP"
    resource_path     = var.changed ? "/health" : "/"
    failure_threshold = var.changed ? 3 : 2
  }
}

resource "aws_service_discovery_service" "call" {
  name         = "call"
  namespace_id = aws_service_discovery_http_namespace.this.id
  type         = "HTTP"
  description  = var.changed ? "changed" : null
}

resource "aws_service_discovery_instance" "api" {
  instance_id = "one"
  service_id  = aws_service_discovery_service.api.id
  attributes = {
    AWS_INSTANCE_IPV4 = var.changed ? "10.0.0.11" : "10.0.0.10"
    AWS_INSTANCE_PORT = "8080"
    colour            = var.changed ? "green" : "blue"
  }
}

resource "aws_service_discovery_instance" "call" {
  instance_id = "two"
  service_id  = aws_service_discovery_service.call.id
  attributes  = { path = var.changed ? "/b" : "/a" }
}

data "aws_service_discovery_dns_namespace" "this" {
  name       = aws_service_discovery_private_dns_namespace.this.name
  type       = "DNS_PRIVATE"
  depends_on = [aws_service_discovery_private_dns_namespace.this]
}

data "aws_service_discovery_http_namespace" "this" {
  name       = aws_service_discovery_http_namespace.this.name
  depends_on = [aws_service_discovery_http_namespace.this]
}

data "aws_service_discovery_service" "api" {
  name         = aws_service_discovery_service.api.name
  namespace_id = aws_service_discovery_private_dns_namespace.this.id
  depends_on   = [aws_service_discovery_service.api]
}
