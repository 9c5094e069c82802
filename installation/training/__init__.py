"""The atelier: pictures in, judged; networks trained, compared, continued. Nothing but the command line imports this room."""
