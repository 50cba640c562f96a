resource "aws_lb_target_group" "plain" {
  name                              = "plain"
  port                              = 80
  protocol                          = "HTTP"
  target_type                       = "ip"
  vpc_id                            = aws_vpc.main.id
  deregistration_delay              = var.changed ? 10 : 300
  load_balancing_algorithm_type     = var.changed ? "least_outstanding_requests" : "round_robin"
  slow_start                        = var.changed ? 0 : 30
  load_balancing_cross_zone_enabled = var.changed ? "true" : "use_load_balancer_configuration"

  health_check {
    path                = var.changed ? "/healthy" : "/health"
    port                = var.changed ? "8081" : "traffic-port"
    protocol            = var.changed ? "HTTPS" : "HTTP"
    matcher             = var.changed ? "200-299,301" : "200"
    interval            = var.changed ? 20 : 10
    timeout             = 5
    healthy_threshold   = var.changed ? 2 : 3
    unhealthy_threshold = var.changed ? 4 : 3
  }

  stickiness {
    type            = "lb_cookie"
    enabled         = var.changed
    cookie_duration = 3600
  }

  target_group_health {
    dns_failover {
      minimum_healthy_targets_count      = var.changed ? "3" : "1"
      minimum_healthy_targets_percentage = "off"
    }
    unhealthy_state_routing {
      minimum_healthy_targets_count      = var.changed ? 2 : 1
      minimum_healthy_targets_percentage = var.changed ? "50" : "off"
    }
  }

  tags = { changed = tostring(var.changed) }
}

resource "aws_lb_target_group" "application_cookie" {
  name                                = "application-cookie"
  port                                = 8443
  protocol                            = "HTTPS"
  target_type                         = "ip"
  vpc_id                              = aws_vpc.main.id
  load_balancing_algorithm_type       = "weighted_random"
  load_balancing_anomaly_mitigation   = var.changed ? "off" : "on"

  stickiness {
    type            = "app_cookie"
    enabled         = true
    cookie_name     = var.changed ? "OTHER" : "SESSION"
    cookie_duration = 60
  }
}

resource "aws_lb_target_group" "grpc" {
  name             = "grpc"
  port             = 50051
  protocol         = "HTTP"
  protocol_version = "GRPC"
  target_type      = "ip"
  vpc_id           = aws_vpc.main.id

  health_check {
    path    = "/shop.Health/Check"
    matcher = var.changed ? "0-99" : "0,12"
  }
}

resource "aws_lb_target_group" "http2" {
  name             = "http2"
  port             = 8080
  protocol         = "HTTPS"
  protocol_version = "HTTP2"
  target_type      = "ip"
  vpc_id           = aws_vpc.main.id
}

resource "aws_lb_target_group" "six" {
  name            = "six"
  port            = 8080
  protocol        = "HTTP"
  target_type     = "ip"
  ip_address_type = "ipv6"
  vpc_id          = aws_vpc.main.id
}

resource "aws_lb_target_group" "instances" {
  name     = "instances"
  port     = 80
  protocol = "HTTP"
  vpc_id   = aws_vpc.main.id
}

resource "aws_lb_target_group_attachment" "inside" {
  target_group_arn = aws_lb_target_group.plain.arn
  target_id        = cidrhost(aws_subnet.main["a"].cidr_block, var.changed ? 101 : 100)
  port             = 8080
}

resource "aws_lb_target_group_attachment" "outside" {
  target_group_arn  = aws_lb_target_group.plain.arn
  target_id         = "192.168.7.7"
  availability_zone = "all"
}

resource "aws_lb_target_group_attachment" "six" {
  target_group_arn = aws_lb_target_group.six.arn
  target_id        = cidrhost(aws_subnet.main["b"].ipv6_cidr_block, 4660)
}

data "aws_lb_target_group" "plain" {
  arn = aws_lb_target_group.plain.arn
}
