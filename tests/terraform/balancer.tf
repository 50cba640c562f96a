resource "aws_lb" "this" {
  name                       = "variants"
  internal                   = true
  subnets                    = [for s in aws_subnet.this : s.id]
  security_groups            = var.changed ? [aws_security_group.self.id, aws_security_group.other.id] : [aws_security_group.self.id]
  idle_timeout               = var.changed ? 120 : 60
  drop_invalid_header_fields = var.changed
  tags                       = { Name = var.changed ? "after" : "before" }
}

resource "aws_lb_target_group" "this" {
  for_each    = toset(["blue", "green"])
  name_prefix = substr(each.key, 0, 5)
  target_type = "ip"
  protocol    = "HTTP"
  port        = 80
  vpc_id      = aws_vpc.this.id

  health_check {
    path    = var.changed ? "/after" : "/before"
    matcher = "200-299"
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_target_group_attachment" "this" {
  target_group_arn = aws_lb_target_group.this["blue"].arn
  target_id        = aws_network_interface.this.private_ip
  port             = 8080
}

resource "aws_lb_listener" "this" {
  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type = "forward"

    forward {
      target_group {
        arn    = aws_lb_target_group.this["blue"].arn
        weight = var.changed ? 10 : 90
      }

      target_group {
        arn    = aws_lb_target_group.this["green"].arn
        weight = 10
      }
    }
  }

  tags = { Name = "variants" }
}

resource "aws_lb_listener" "redirect" {
  load_balancer_arn = aws_lb.this.arn
  port              = var.changed ? 8081 : 8080
  protocol          = "HTTP"

  default_action {
    type = "redirect"

    redirect {
      port        = "443"
      protocol    = "HTTPS"
      status_code = "HTTP_301"
    }
  }
}

resource "aws_lb_listener_rule" "this" {
  for_each     = { a = 1, b = 2, c = 3 }
  listener_arn = aws_lb_listener.this.arn
  priority     = var.changed ? 100 + each.value : each.value

  condition {
    host_header {
      values = ["${each.key}.variants.test", "*.${each.key}.variants.test"]
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["green"].arn
  }

  tags = { Name = each.key }
}

data "aws_lb" "this" {
  arn = aws_lb.this.arn
}

data "aws_lb_target_group" "this" {
  arn = aws_lb_target_group.this["blue"].arn
}

data "aws_lb_listener" "this" {
  arn = aws_lb_listener.this.arn
}
