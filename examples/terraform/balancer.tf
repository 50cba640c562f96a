resource "aws_lb" "main" {
  name               = var.name
  load_balancer_type = "application"
  subnets            = aws_subnet.public[*].id
  security_groups    = [aws_security_group.balancer.id]
  idle_timeout       = 30
}

resource "aws_lb_target_group" "api" {
  name                 = "${var.name}-api"
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = 8080
  vpc_id               = aws_vpc.main.id
  deregistration_delay = 10

  health_check {
    path                = var.health_path
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }
}

resource "aws_lb_listener" "http" {
  load_balancer_arn = aws_lb.main.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api.arn
  }
}

resource "aws_lb_listener" "https" {
  load_balancer_arn = aws_lb.main.arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = aws_acm_certificate_validation.api.certificate_arn

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api.arn
  }
}

resource "aws_lb_listener" "office" {
  load_balancer_arn = aws_lb.main.arn
  port              = 8081
  protocol          = "HTTP"

  default_action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      message_body = "office only"
      status_code  = "403"
    }
  }
}

resource "aws_lb_listener_rule" "orders" {
  listener_arn = aws_lb_listener.http.arn
  priority     = 10

  condition {
    path_pattern {
      values = ["/orders", "/orders/*"]
    }
  }

  condition {
    http_request_method {
      values = ["GET", "POST"]
    }
  }

  action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.api.arn
        weight = 100
      }

      stickiness {
        enabled  = false
        duration = 60
      }
    }
  }
}

resource "aws_lb_listener_rule" "maintenance" {
  listener_arn = aws_lb_listener.http.arn
  priority     = 20

  condition {
    path_pattern {
      values = ["/maintenance"]
    }
  }

  action {
    type = "fixed-response"

    fixed_response {
      content_type = "text/plain"
      message_body = var.maintenance
      status_code  = "503"
    }
  }
}

resource "aws_lb_listener_rule" "old_name" {
  listener_arn = aws_lb_listener.http.arn
  priority     = 30

  condition {
    host_header {
      values = ["old.${var.zone}"]
    }
  }

  action {
    type = "redirect"

    redirect {
      host        = "api.${var.zone}"
      path        = "/#{path}"
      query       = "#{query}"
      status_code = "HTTP_301"
    }
  }
}

# Without a priority: the next free one.
resource "aws_lb_listener_rule" "debug" {
  listener_arn = aws_lb_listener.http.arn

  condition {
    http_header {
      http_header_name = "X-Debug"
      values           = ["1", "yes*"]
    }
  }

  condition {
    query_string {
      key   = "trace"
      value = "on"
    }
  }

  condition {
    source_ip {
      values = ["10.0.0.0/8"]
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api.arn
  }

  depends_on = [aws_lb_listener_rule.orders, aws_lb_listener_rule.maintenance, aws_lb_listener_rule.old_name]
}
