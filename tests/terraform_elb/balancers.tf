resource "aws_lb" "main" {
  name               = "main"
  load_balancer_type = "application"
  subnets            = [for zone in var.changed ? ["a", "b", "c"] : ["a", "b"] : aws_subnet.main[zone].id]
  security_groups    = [for name in var.changed ? ["one", "two"] : ["one"] : aws_security_group.main[name].id]
  ip_address_type    = var.changed ? "dualstack" : "ipv4"

  client_keep_alive                           = var.changed ? 7200 : 3600
  desync_mitigation_mode                      = var.changed ? "strictest" : "monitor"
  drop_invalid_header_fields                  = !var.changed
  enable_cross_zone_load_balancing            = true
  enable_deletion_protection                  = false
  enable_http2                                = var.changed
  enable_tls_version_and_cipher_suite_headers = !var.changed
  enable_waf_fail_open                        = var.changed
  enable_xff_client_port                      = !var.changed
  enable_zonal_shift                          = var.changed
  idle_timeout                                = var.changed ? 120 : 60
  preserve_host_header                        = !var.changed
  xff_header_processing_mode                  = var.changed ? "preserve" : "remove"

  access_logs {
    bucket  = var.changed ? "other-logs" : "logs"
    prefix  = "main"
    enabled = true
  }

  connection_logs {
    bucket  = "logs"
    prefix  = "main/connections"
    enabled = !var.changed
  }

  tags       = { changed = tostring(var.changed) }
  depends_on = [aws_internet_gateway.main]
}

resource "aws_lb" "internal" {
  name_prefix = "in-"
  internal    = true

  subnet_mapping {
    subnet_id = aws_subnet.main["a"].id
  }
  subnet_mapping {
    subnet_id = aws_subnet.main["b"].id
  }
}

data "aws_lb" "main" {
  arn = aws_lb.main.arn
}

data "aws_lb_hosted_zone_id" "main" {}

output "zone_is_that_of_the_region" {
  value = data.aws_lb.main.zone_id == data.aws_lb_hosted_zone_id.main.id
}
